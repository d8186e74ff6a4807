package linkedin

import "testing"

func TestEncoding(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                     "''",
		"abc-_.!~*":                            "abc-_.!~*",
		"urn:li:share:123":                     "urn%3Ali%3Ashare%3A123",
		"urn:li:comment:(urn:li:activity:1,2)": "urn%3Ali%3Acomment%3A%28urn%3Ali%3Aactivity%3A1%2C2%29",
		"it's 100 % (é)":                       "it%27s%20100%20%25%20%28%C3%A9%29",
	} {
		if got := enc(in); got != want {
			t.Errorf("%q is written %q, want %q", in, got, want)
		}
	}
	if got := list([]string{"urn:li:share:1", "a,b"}); got != "List(urn%3Ali%3Ashare%3A1,a%2Cb)" {
		t.Errorf("a list is %s", got)
	}
}
