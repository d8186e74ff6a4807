package api

import (
	"testing"

	"smi/connectors"
)

func TestCommitPublishesOnce(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	k := r.publish()
	a, ev, err := r.shoot(t, k)
	if err != nil {
		t.Fatal(err)
	}
	if out := k.Out.(*published); out.ID != "p1" || out.N != 9007199254740993 {
		t.Errorf("decoded %+v", out)
	}
	if a.Status != 200 || ev.Reach != connectors.ReachAnswered || ev.Bytes == 0 || ev.FirstByte.IsZero() {
		t.Errorf("answer %d, evidence %+v", a.Status, ev)
	}
	if n := r.kit.Journal.Count("publish"); n != 1 {
		t.Errorf("%d posts are public, want 1", n)
	}
}
