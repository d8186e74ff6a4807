// Package social is the language of the program: the nouns that people who run
// social media use, as Go types. It knows no database, no network and no clock,
// and imports nothing but the standard library, so that every other package can
// speak it.
//
// The few words that matter everywhere:
//
//   - a Network is a social platform (bluesky, facebook …);
//   - an Account is one connected page, channel or profile on a network;
//   - a Post is what a person writes once, with a planned time;
//   - a Delivery is one post on one account, with its own state and remote id;
//   - a Part is one thing of a delivery that becomes visible by one call: the
//     body, one item of a thread, a first comment;
//   - an Observation is one number a network reported, with where it came from.
//
// Times are time.Time in Go and UTC milliseconds wherever they are stored.
package social
