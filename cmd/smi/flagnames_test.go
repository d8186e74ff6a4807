package main

import (
	"testing"

	"smi/internal/social"
)

// TestFlagNames: what is wrong with a post that was given by flags is said of
// the flag.
func TestFlagNames(t *testing.T) {
	d := &drafting{parts: []draftPart{{role: social.RoleBody}, {role: social.RoleThread}}}
	for field, want := range map[string]string{
		"plan.at":                        "--at",
		"accounts[1]":                    "--account",
		"parts[0].text":                  "--text",
		"parts[1].text":                  "--thread (part 2)",
		"parts[0].options.made_for_kids": "--option made_for_kids",
		"parts[0].media[0]":              "parts[0].media[0]",
	} {
		if got := d.flag(field); got != want {
			t.Errorf("%s is named %q, want %q", field, got, want)
		}
	}
}
