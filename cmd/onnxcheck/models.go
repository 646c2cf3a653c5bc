package main

import (
	"context"
	"errors"
	"io"
)

type modelOptions struct {
	shared, machines, python string
	only                     []string
}

func models(ctx context.Context, w io.Writer, opt modelOptions) error { return errors.New("later") }
