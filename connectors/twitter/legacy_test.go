package twitter_test

import (
	"testing"

	"smi/connectors"
	"smi/connectors/connectortest"
)

// TestOnlyXEndsALogin: tokens without an end are given up when X itself says so,
// and not for a 401 of something before it.
func TestOnlyXEndsALogin(t *testing.T) {
	t.Parallel()
	h := open(t, "1.1", app)
	p, err := h.New(h.Env)
	if err != nil {
		t.Fatal(err)
	}
	v, ok := p.(connectors.Voucher)
	if !ok {
		t.Fatal("nobody is asked about tokens that cannot be renewed")
	}
	g, err := v.Refresh(t.Context(), h.Grant)
	if err != nil || g.Access != h.Grant.Access {
		t.Errorf("good tokens: %v", err)
	}
	h.Faults.Set(connectortest.OpIdentity, connectortest.Fault{Do: connectortest.Answer, Status: 401, Body: "<html>who are you?</html>"})
	if _, err := v.Refresh(t.Context(), h.Grant); connectors.KindOf(err) != connectors.Transient {
		t.Errorf("a proxy's 401: %v", err)
	}
	h = open(t, "1.1", app)
	if p, err = h.New(h.Env); err != nil {
		t.Fatal(err)
	}
	h.Stage.Revoke()
	if _, err := p.(connectors.Voucher).Refresh(t.Context(), h.Grant); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("revoked: %v", err)
	}
}
