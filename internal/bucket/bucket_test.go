package bucket

import (
	"strings"
	"testing"

	"smi/internal/social"
)

// TestNoKeyIsShown: an address that holds a key is refused without showing it, and
// what else an address says is not shown either.
func TestNoKeyIsShown(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{To: "s3://AKIA:hidden@bucket/x?region=r", Field: "to", Key: "backup.access_key_file"})
	if social.CodeOf(err) != social.CodeInvalid || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "backup.access_key_file") {
		t.Errorf("%v", err)
	}
	_, err = Open(t.Context(), Options{To: "s3://bucket?region=r&secret_key=hidden", Field: "to"})
	if social.CodeOf(err) != social.CodeInvalid || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v", err)
	}
	b, err := Open(t.Context(), Options{To: "s3://bucket/x/?region=r&endpoint=https://minio.example", Access: Access{social.NewSecret("AKIA"), social.NewSecret("hidden")}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.String() != "s3://bucket/x" {
		t.Errorf("it is shown as %s", b)
	}
}
