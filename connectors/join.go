package connectors

// Join is how accounts of a platform are connected and disconnected: the verbs
// of the platform itself, found out from its type. What it has not is nil.
type Join struct {
	OAuth  OAuth
	Form   FormLogin // nil as well where there is nothing to type in
	Lister AccountLister
	Revoke Revoker
	Renew  Refresher // for internal/credentials; nil where grants cannot be renewed
}

// JoinOf returns the ways to join a platform.
func JoinOf(p Platform) Join {
	var j Join
	j.OAuth, _ = p.(OAuth)
	j.Lister, _ = p.(AccountLister)
	j.Revoke, _ = p.(Revoker)
	j.Renew, _ = p.(Refresher)
	if f, ok := p.(FormLogin); ok && len(f.LoginFields()) > 0 {
		j.Form = f
	}
	return j
}
