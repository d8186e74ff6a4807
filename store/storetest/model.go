package storetest

import "testing"

func ledgerModel(t *testing.T, open Opener) {}
