package storetest

import "testing"

func ledger(t *testing.T, open Opener)  {}
func change(t *testing.T, open Opener)  {}
func limits(t *testing.T, open Opener)  {}
func notices(t *testing.T, open Opener) {}
