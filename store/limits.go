package store

type limitCache struct{}
