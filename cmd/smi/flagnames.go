package main

import (
	"errors"
	"regexp"
	"strconv"

	"smi/internal/httpapi"
	"smi/internal/social"
)

// flagOf are the flags of post create by the field of the API that they fill.
var flagOf = map[string]string{
	"plan.at": "--at", "plan.in": "--in", "plan.zone": "--zone", "late_policy": "--late", "not_after": "--not-after",
	"allow_repeat": "--allow-repeat", "accounts": "--account",
}

var (
	accountField = regexp.MustCompile(`^accounts\[\d+\]$`)
	tagField     = regexp.MustCompile(`^tags\[\d+\]$`)
	textField    = regexp.MustCompile(`^parts\[(\d+)\]\.text$`)
	optionField  = regexp.MustCompile(`^parts\[\d+\]\.options\.(.+)$`)
)

// byFlags names the flags instead of the API's fields in an error about a post
// that was given by flags. What no single flag stands for stays.
func (d *drafting) byFlags(err error) error {
	p, ok := errors.AsType[*httpapi.Problem](err)
	if !ok {
		return err
	}
	p.Field = d.flag(p.Field)
	for i := range p.Errors {
		p.Errors[i].Field = d.flag(p.Errors[i].Field)
	}
	return err
}

func (d *drafting) flag(field string) string {
	switch {
	case flagOf[field] != "":
		return flagOf[field]
	case accountField.MatchString(field):
		return "--account"
	case tagField.MatchString(field):
		return "--tag"
	}
	if m := optionField.FindStringSubmatch(field); m != nil {
		return "--option " + m[1]
	}
	m := textField.FindStringSubmatch(field)
	if m == nil {
		return field
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n >= len(d.parts) {
		return field
	}
	switch d.parts[n].role {
	case social.RoleThread:
		return "--thread (part " + strconv.Itoa(n+1) + ")"
	case social.RoleComment:
		return "--comment (part " + strconv.Itoa(n+1) + ")"
	}
	return "--text"
}
