//go:build !faultinject

// Package crash marks the points at which a test kills the process. In an
// ordinary build a point is nothing at all; only binaries built with the tag
// faultinject can crash on purpose.
package crash

// Point is a place in the program between two steps of a promise.
func Point(string) {}
