package httpapi

import (
	"context"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"smi/internal/app"
	"smi/internal/social"
)

// CallbackPath is where browsers come back to after an OAuth login.
const CallbackPath = "/oauth/callback"

// Callback serves the end of OAuth logins on a loopback listener: one path, no
// assets, no cookies. The state in the query works once and is all that counts;
// who opens the page without it learns nothing.
func Callback(ctx context.Context, l net.Listener, a *app.App, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+CallbackPath, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Referrer-Policy", "no-referrer") // the address holds a code
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		page := page{Title: "Connected", Text: "You can close this window."}
		c, err := a.FinishOAuth(ctx, r.URL.Query())
		if err != nil {
			p, internal := problemOf(err)
			if internal {
				log.Error("a login failed", "err", err)
			}
			page.Title, page.Text = "Not connected", p.Detail
			w.WriteHeader(p.Status)
		} else if c.Account != nil {
			page.Text = c.Account.Name + " is connected. " + page.Text
		}
		if err := pageTemplate.Execute(w, page); err != nil {
			log.Debug("writing the callback's answer", "err", err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, string(social.CodeNotFound), http.StatusNotFound)
	})
	return serve(ctx, l, mux, log)
}

type page struct{ Title, Text string }

var pageTemplate = template.Must(template.New("callback").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>smi: {{.Title}}</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}</style></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p></body></html>
`))
