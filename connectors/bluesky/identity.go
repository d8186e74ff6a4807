package bluesky

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// who is an account as the network's directories know it.
type who struct{ did, handle, pds string }

// lookUp finds an account by the handle or DID that a person typed, checks that
// both directions agree, and finds its server. resolver is the server that
// resolves handles.
func (p *Platform) lookUp(ctx context.Context, typed, resolver string) (who, error) {
	typed = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(typed), "@"))
	invalid := func(format string, args ...any) error {
		return &connectors.Error{Kind: connectors.Invalid, Op: "resolve", Field: "identifier", Text: fmt.Sprintf(format, args...)}
	}
	id, err := syntax.ParseAtIdentifier(typed)
	if err != nil {
		return who{}, invalid("%q is no handle; type it as name.bsky.social", typed)
	}
	var w who
	if h := id.Handle(); h != "" {
		w.handle = h.String()
		if w.did, err = p.resolveHandle(ctx, w.handle, resolver); err != nil {
			return who{}, err
		}
	} else {
		w.did = id.String()
	}
	doc, err := p.document(ctx, w.did)
	if err != nil {
		return who{}, err
	}
	ident := identity.ParseIdentity(&doc)
	declared, err := ident.DeclaredHandle()
	if w.handle == "" && err == nil {
		w.handle = declared.String()
	}
	if w.handle != "" && (err != nil || declared.String() != w.handle) {
		return who{}, invalid("%s points to %s, but that account does not claim the handle; ask its owner to set it again", w.handle, w.did)
	}
	svc := ident.Services["atproto_pds"]
	if svc.Type != "AtprotoPersonalDataServer" {
		return who{}, invalid("%s names no server for its data", w.did)
	}
	u, err := p.cfg.serverURL(svc.URL)
	if err != nil {
		return who{}, invalid("the server of %s cannot be used: %v", w.did, err)
	}
	w.pds = u.String()
	return w, nil
}

// resolveHandle asks the resolver, which knows both ways of proving a handle,
// and then the handle's own web server.
func (p *Platform) resolveHandle(ctx context.Context, handle, resolver string) (string, error) {
	var out struct {
		DID string `json:"did"`
	}
	err := p.get(ctx, api.Call{Op: "resolveHandle", URL: xrpc(resolver, "com.atproto.identity.resolveHandle"), Query: url.Values{"handle": {handle}}, Out: &out})
	if err == nil {
		did, perr := syntax.ParseDID(out.DID)
		if perr == nil {
			return did.String(), nil
		}
		err = &connectors.Error{Kind: connectors.Transient, Op: "resolveHandle", Text: "the answer holds no DID", Err: perr}
	}
	if connectors.KindOf(err) != connectors.Invalid {
		return "", err
	}
	client, cerr := p.at("https://" + handle)
	if cerr != nil {
		return "", cerr
	}
	a, werr := client.Do(ctx, api.Call{Op: "atproto-did", URL: "https://" + handle + "/.well-known/atproto-did", Anonymous: true, MaxBytes: 2048})
	if werr == nil {
		if did, perr := syntax.ParseDID(strings.TrimSpace(string(a.Body))); perr == nil {
			return did.String(), nil
		}
	}
	return "", &connectors.Error{
		Kind: connectors.Invalid, Op: "resolveHandle", Field: "identifier", Code: "HandleNotFound", Err: err,
		Text: fmt.Sprintf("there is no account %s; check the spelling", handle),
	}
}

// document reads the identity document of a DID.
func (p *Platform) document(ctx context.Context, raw string) (identity.DIDDocument, error) {
	var doc identity.DIDDocument
	did, err := syntax.ParseDID(raw)
	if err != nil {
		return doc, &connectors.Error{Kind: connectors.Invalid, Op: "resolve", Field: "identifier", Text: fmt.Sprintf("%q is no DID", raw)}
	}
	at := ""
	switch did.Method() {
	case "plc":
		at = strings.TrimSuffix(p.cfg.PLC, "/") + "/" + did.String()
	case "web":
		at = "https://" + did.Identifier() + "/.well-known/did.json"
	default:
		return doc, &connectors.Error{Kind: connectors.Invalid, Op: "resolve", Field: "identifier", Text: fmt.Sprintf("%s is of a kind that the network does not use; use did:plc or did:web", did)}
	}
	if err := p.get(ctx, api.Call{Op: "didDocument", URL: at, Out: &doc}); err != nil {
		return doc, err
	}
	if doc.DID != did {
		return doc, &connectors.Error{Kind: connectors.Permanent, Op: "resolve", Text: fmt.Sprintf("the directory answered for %s with the document of %s", did, doc.DID)}
	}
	return doc, nil
}

// get makes an anonymous call to a server that comes from the settings or from
// an identity document.
func (p *Platform) get(ctx context.Context, k api.Call) error {
	client, err := p.at(k.URL)
	if err != nil {
		return err
	}
	k.Anonymous, k.Bucket = true, "public/"+k.Op
	_, err = client.Do(ctx, k)
	return err
}
