package config

import (
	"strings"
	"testing"
)

// TestKeyInAddress: what is shown with the configuration holds no key.
func TestKeyInAddress(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"s3://AKIA:hidden@bucket/x", "s3://hidden@bucket?region=r"} {
		for _, err := range []error{(&Media{Bucket: to}).Check(), (&Backup{To: to}).Check()} {
			if err == nil || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s: %v", to, err)
			}
		}
	}
	for _, to := range []string{"", "s3://bucket", "s3://bucket/a@b?region=r"} {
		if err := (&Media{Bucket: to}).Check(); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestPublicURL: an address of files can be made of it.
func TestPublicURL(t *testing.T) {
	t.Parallel()
	check := func(u string) error {
		return (&Public{Listen: "127.0.0.1:0", URL: u, TrustedProxies: []string{"127.0.0.1"}}).Check()
	}
	for _, u := range []string{"http://a.example", "https://a.example/x", "https://a.example?x=1", "https://a.example?", "https://a.example#x", "https://me:secret@a.example", "https://", "https:a.example"} {
		if check(u) == nil {
			t.Errorf("%s is taken", u)
		}
	}
	for _, u := range []string{"https://a.example", "https://a.example/", "https://a.example:8443"} {
		if err := check(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}
