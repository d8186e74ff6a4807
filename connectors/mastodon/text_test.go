package mastodon

import "testing"

func TestTextOfHTML(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ html, want string }{
		{"", ""},
		{"<p>one</p>", "one"},
		{"<p>one</p><p>two<br />three<br>four</p>", "one\n\ntwo\nthree\nfour"},
		{"<p>a &lt;b&gt; &amp;amp; c</p>", "a <b> &amp; c"},
		{`<p><a href="https://example.com/x"><span class="invisible">https://</span><span class="ellipsis">example.com/</span><span class="invisible">x</span></a></p>`, "https://example.com/x"},
		{`<p><span class="h-card"><a href="https://there.example/@bob" class="u-url mention">@<span>bob</span></a></span> hi</p>`, "@bob@there.example hi"},
		{`<p><a href="https://other.example/@bob" class="u-url mention">@<span>bob</span></a></p>`, "@bob"},
		{`<p><a href="https://here.example/tags/smi" class="mention hashtag" rel="tag">#<span>smi</span></a></p>`, "#smi"},
		{"plain", "plain"},
		{"<p>cut off <a href", "cut off"},
		{"<!-- x --><p>a<script>b</script></p>", "ab"},
	} {
		s := status{Content: c.html, Mentions: []mention{{Acct: "bob@there.example", URL: "https://there.example/@bob"}}}
		if got := s.text(); got != c.want {
			t.Errorf("%s reads %q, want %q", c.html, got, c.want)
		}
	}
}

// Links to the next page are read, and never followed.
func TestNextPage(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"": "",
		`<https://m.example/api/v1/accounts/1/statuses?limit=40&max_id=123>; rel="next", <https://m.example/x?min_id=9>; rel="prev"`: "123",
		`<https://evil.example/?max_id=01ABC>; rel="next"`:                                                                           "01ABC",
		`<https://m.example/x?min_id=9>; rel="prev"`:                                                                                 "",
		`<https://m.example/x?max_id=../..>; rel="next"`:                                                                             "",
	} {
		if got := nextID([]string{link}); got != want {
			t.Errorf("%s leads to %q, want %q", link, got, want)
		}
	}
}
