package main

import (
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittersim"
)

func newSimTwitter(base string) *simNet {
	s := twittersim.New(twittersim.App{ClientID: "demo-client", ClientSecret: simSecret}, twittersim.Options{Growth: true, MediaPolls: 1})
	id := s.AddAccount(twittersim.Account{Username: "grace_example", Name: "Grace", Followers: 540})
	return &simNet{
		network: twitter.Network, title: "X (Twitter)", account: "grace_example", hint: "grace_example", server: s, pages: "/grace_example/status/",
		settings: []string{
			"client_id: demo-client", "client_secret_env: " + simSecretEnv, "api_url: " + base, "web_url: " + base, "allow_hosts: [ADDRESS]",
			"monthly_budget_cents: 1000", "min_gap: 0s",
		},
		posts: func() (out []simPost) {
			for _, p := range s.Posts(id) {
				out = append(out, simPost{p.ID, "", p.Text, p.At})
			}
			return out
		},
		react: func(int64) { s.Advance() },
	}
}
