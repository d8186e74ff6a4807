// Package config reads the one file that an admin edits: YAML, strict, with
// every mistake reported at once, each with its place in the file and its cure.
//
// # How settings are declared
//
// A setting is an exported field of a struct; the tags say all that is known of
// it, and the example file, the reference and the JSON Schema are made from them:
//
//	yaml:"look_back"       the key; "-" hides a field, ",inline" takes in the fields of an embedded struct
//	doc:"how far back …"   one or two sentences; a setting without them fails a test
//	default:"30d"          used where the file says nothing, written as the admin would
//	shows:"next to …"      what the reference says where the default is worked out on the machine
//	kind:"url"             what a string or a number means: url, listen, hostport, zone, cron, path, size
//	enum:"ask,publish"     the only words allowed
//	min:"1" max:"64"       bounds of a number, a size or a duration
//	required:"true"        must not be left out
//	reload:"restart"       takes effect after a restart only; "live", the default, at the next reload
//
// The Go types are bool, string, the integers, float64, time.Duration, Size,
// Cron, Zone, social.Secret, structs, and lists and maps by name of these. A
// field Password of type social.Secret with the key "password" is given as
// password_file or password_env and never as a value in the file.
//
// A pointer to a settings struct may have a method
//
//	Check() error
//
// for what the tags cannot say. It returns a *social.Error (or errors.Join of
// several) whose Field is the key in the struct, and whose Text names the
// trouble and the cure.
//
// A connector declares its section in the same way without importing this
// package: plain Go types with kind tags, social.Secret for secrets, defaults
// in the value its NewConfig returns.
//
// A Config is never changed after it was loaded: it may be shared.
package config
