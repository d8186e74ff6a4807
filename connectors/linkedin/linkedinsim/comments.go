package linkedinsim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"smi/connectors/internal/simkit"
)

type comment struct {
	id, urn string
	of      *post
	parent  string // name of what it answers
	under   string // name of the comment it answers, or ""
	actor   string
	text    string
	media   int
	content json.RawMessage
	created time.Time
	deleted bool
}

var commentName = regexp.MustCompile(`^urn:li:comment:\((urn:li:activity:\d+),(\d+)\)$`)

// comments are those under a post or under another comment.
func (s *Sim) comments(c *call) {
	target, under := c.path[1], ""
	if m := commentName.FindStringSubmatch(target); m != nil {
		target, under = m[1], c.path[1]
	}
	p := s.find(target)
	if p == nil || under != "" && s.reply(under) == nil {
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "Unable to obtain activity", "")
		return
	}
	switch n := len(c.path); {
	case n == 3 && c.r.Method == http.MethodPost:
		s.createComment(c, p, under)
	case n == 3 && c.r.Method == http.MethodGet:
		if !s.mayRead(c, p.author) {
			return
		}
		var all []any
		for _, r := range s.replies {
			if r.of == p && r.under == under && !r.deleted && s.listed(r.actor, r.created) {
				all = append(all, r.json())
			}
		}
		answer(c.w, http.StatusOK, page(c, all))
	case n == 4:
		s.oneComment(c, p)
	default:
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such resource", "")
	}
}

func (s *Sim) reply(urn string) *comment {
	for _, r := range s.replies {
		if r.urn == urn && !r.deleted {
			return r
		}
	}
	return nil
}

func (s *Sim) createComment(c *call, p *post, under string) {
	hash := simkit.BodyHash(c.r)
	var in struct {
		Actor, Object, ParentComment string
		Message                      struct{ Text string }
		Content                      json.RawMessage
	}
	if err := json.Unmarshal(body(c.r), &in); err != nil {
		refuse(c.w, http.StatusBadRequest, "", "the request cannot be read", "")
		return
	}
	if !s.acts(c, in.Actor, "w_member_social", "w_organization_social") {
		return
	}
	r := &comment{id: s.next(), of: p, parent: p.urn, under: under, actor: in.Actor, text: in.Message.Text, content: in.Content, created: s.now()}
	switch {
	case in.Object != p.urn && in.Object != p.activity:
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "object is not the post of the path", "object")
		return
	case in.ParentComment != under:
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "parentComment is not the comment of the path", "parentComment")
		return
	case strings.TrimSpace(r.text) == "" && len(r.content) == 0:
		refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_BLANK_FIELD", "message is blank", "message/text")
		return
	case units(r.text) > 1250:
		refuse(c.w, http.StatusBadRequest, "FIELD_LENGTH_TOO_LONG", "message exceeded maximum length of 1250", "message/text")
		return
	}
	if under != "" {
		r.parent = under
	}
	if len(in.Content) > 0 {
		var list []struct{ Entity struct{ Image string } }
		if err := json.Unmarshal(in.Content, &list); err != nil || len(list) != 1 || s.assets[list[0].Entity.Image] == nil {
			refuse(c.w, http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "one picture is possible", "content")
			return
		}
		if a := s.assets[list[0].Entity.Image]; a.kind != "images" || a.owner != in.Actor || a.status() != "AVAILABLE" {
			refuse(c.w, http.StatusBadRequest, "INVALID_URN_ID", "the picture is not the actor's, or not ready", "content")
			return
		}
		r.media = 1
	}
	r.urn = "urn:li:comment:(" + p.activity + "," + r.id + ")"
	s.replies = append(s.replies, r)
	s.Kit.Journal.Add(simkit.Effect{Op: "create", Account: r.actor, RemoteID: r.urn, Hash: hash, Text: r.text})
	c.w.Header().Set("X-RestLi-Id", r.id)
	answer(c.w, http.StatusCreated, r.json())
}

func (r *comment) json() map[string]any {
	out := map[string]any{
		"actor": r.actor, "commentUrn": r.urn, "created": map[string]any{"actor": r.actor, "time": r.created.UnixMilli()},
		"id": r.id, "message": map[string]any{"attributes": []any{}, "text": r.text}, "object": r.of.activity,
	}
	if r.under != "" {
		out["parentComment"] = r.under
	}
	if len(r.content) > 0 {
		out["content"] = r.content
	}
	return out
}

func (s *Sim) oneComment(c *call, p *post) {
	var r *comment
	for _, o := range s.replies {
		if o.of == p && o.id == c.path[3] && !o.deleted {
			r = o
		}
	}
	if r == nil {
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "no such comment", "")
		return
	}
	switch c.r.Method {
	case http.MethodGet:
		if s.mayRead(c, p.author) {
			answer(c.w, http.StatusOK, r.json())
		}
	case http.MethodDelete:
		actor := c.query.text("actor")
		if !s.acts(c, actor, "w_member_social", "w_organization_social") {
			return
		}
		if actor != r.actor && actor != p.author { // pages may delete what others say under their posts
			refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "the comment is somebody else's", "")
			return
		}
		r.deleted = true
		c.w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		var in struct {
			Patch struct {
				Message struct {
					Set struct{ Text *string } `json:"$set"`
				} `json:"message"`
			} `json:"patch"`
		}
		if c.method != "PARTIAL_UPDATE" || json.Unmarshal(body(c.r), &in) != nil || in.Patch.Message.Set.Text == nil {
			refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "a change needs X-RestLi-Method: PARTIAL_UPDATE and a patch of the message", "")
			return
		}
		if s.acts(c, c.query.text("actor"), "w_member_social", "w_organization_social") {
			r.text = *in.Patch.Message.Set.Text
			answer(c.w, http.StatusOK, r.json())
		}
	default:
		refuse(c.w, http.StatusMethodNotAllowed, "", "no such method", "")
	}
}
