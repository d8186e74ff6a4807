package mastodonsim

import (
	"net/http"
)

func (s *Sim) instanceRoutes() {
	s.mux.HandleFunc("GET /api/v2/instance", func(w http.ResponseWriter, r *http.Request) {
		if s.o.Old {
			refuse(w, http.StatusNotFound, "Record not found")
			return
		}
		if s.limited(w, r, "") {
			return
		}
		out := object{
			"domain": s.o.Domain, "title": "A server of the simulator", "version": s.version(), "source_url": "https://example.org/source",
			"description": "", "usage": object{"users": object{"active_month": len(s.Handles())}}, "languages": []string{"en"},
			"configuration": s.configuration(r), "registrations": object{"enabled": false, "approval_required": false}, "rules": []any{},
			"contact": object{"email": "", "account": nil}, "thumbnail": object{"url": s.base(r) + "/thumbnail.png"},
		}
		if !s.o.GoToSocial {
			out["api_versions"] = object{"mastodon": 6}
		}
		answer(w, http.StatusOK, out)
	})
	s.mux.HandleFunc("GET /api/v1/instance", func(w http.ResponseWriter, r *http.Request) {
		if s.limited(w, r, "") {
			return
		}
		answer(w, http.StatusOK, object{
			"uri": s.o.Domain, "title": "A server of the simulator", "version": s.version(), "short_description": "", "description": "", "email": "",
			"languages": []string{"en"}, "registrations": false, "approval_required": false, "invites_enabled": false,
			"urls": object{"streaming_api": "wss://" + r.Host}, "stats": object{"user_count": len(s.Handles()), "status_count": 0, "domain_count": 1},
			"configuration": s.configuration(r), "contact_account": nil, "rules": []any{}, "thumbnail": s.base(r) + "/thumbnail.png",
		})
	})
	s.mux.HandleFunc("GET /.well-known/nodeinfo", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, object{"links": []object{
			{"rel": "http://nodeinfo.diaspora.software/ns/schema/2.0", "href": s.base(r) + "/nodeinfo/2.0"},
		}})
	})
	s.mux.HandleFunc("GET /nodeinfo/2.0", func(w http.ResponseWriter, _ *http.Request) {
		name := "mastodon"
		if s.o.GoToSocial {
			name = "gotosocial"
		}
		answer(w, http.StatusOK, object{
			"version": "2.0", "software": object{"name": name, "version": s.version()}, "protocols": []string{"activitypub"},
			"services": object{"outbound": []any{}, "inbound": []any{}}, "usage": object{"users": object{"total": len(s.Handles())}}, "openRegistrations": false,
			"metadata": object{},
		})
	})
	s.mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, r *http.Request) {
		b := s.base(r)
		answer(w, http.StatusOK, object{
			"issuer": b + "/", "authorization_endpoint": b + "/oauth/authorize", "token_endpoint": b + "/oauth/token", "revocation_endpoint": b + "/oauth/revoke",
			"app_registration_endpoint": b + "/api/v1/apps", "scopes_supported": scopesKnown, "response_types_supported": []string{"code"},
			"code_challenge_methods_supported": []string{"S256"}, "grant_types_supported": []string{"authorization_code", "client_credentials"},
		})
	})
}

func (s *Sim) version() string {
	switch {
	case s.o.GoToSocial:
		return "0.20.0+git-0000000"
	case s.o.Old:
		return "3.5.3"
	}
	return "4.5.2"
}

// perURL is what a web address counts, whatever its length.
const perURL = 23

// The rules about polls and files.
const (
	pollOptions   = 4
	pollOption    = 50
	pollMin       = 300
	pollMax       = 2629746
	imageLimit    = 16777216
	videoLimit    = 103809024
	imageMatrix   = 33177600
	videoMatrix   = 8294400
	defaultLocale = "en"
)

// mimes are the types of files that are taken.
var mimes = []string{
	"image/jpeg", "image/png", "image/gif", "image/webp", "video/webm", "video/mp4", "video/quicktime", "audio/mpeg", "audio/ogg",
}

func (s *Sim) configuration(r *http.Request) object {
	return object{
		"urls":     object{"streaming": "wss://" + r.Host},
		"accounts": object{"max_featured_tags": 10, "max_pinned_statuses": 5},
		"statuses": object{"max_characters": s.o.MaxCharacters, "max_media_attachments": s.o.MaxMedia, "characters_reserved_per_url": perURL},
		"media_attachments": object{
			"supported_mime_types": mimes, "description_limit": s.o.MaxAlt, "image_size_limit": imageLimit, "image_matrix_limit": imageMatrix,
			"video_size_limit": videoLimit, "video_frame_rate_limit": 120, "video_matrix_limit": videoMatrix,
		},
		"polls":       object{"max_options": pollOptions, "max_characters_per_option": pollOption, "min_expiration": pollMin, "max_expiration": pollMax},
		"translation": object{"enabled": false},
	}
}
