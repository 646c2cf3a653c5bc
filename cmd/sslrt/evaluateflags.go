package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The protocols of evaluate.
const (
	protocolKNN            = "knn"
	protocolLinear         = "linear"
	protocolFinetune       = "finetune"
	protocolReconstruction = "reconstruction"
)

// Flags that several protocols share.
var (
	everyProtocol   = flagNames("protocol test device threads workers strict cifar-labels exif-orientation max-pixels")
	modelFlags      = flagNames("batch-size layer image-size mean std preprocess") // of a file that is run as it is
	classifierFlags = flagNames("train labels seed output confusion report force")
)

// protocolFlags are the flags of each protocol beside everyProtocol: what it would
// ignore, it refuses.
var protocolFlags = map[string][]string{
	protocolKNN:            slices.Concat(modelFlags, classifierFlags, flagNames("k temperature")),
	protocolLinear:         slices.Concat(modelFlags, classifierFlags, flagNames("C")),
	protocolFinetune:       classifierFlags,
	protocolReconstruction: slices.Concat(modelFlags, flagNames("noise noise-level noise-seed sheet")),
}

func flagNames(text string) []string { return strings.Fields(text) }

// checkProtocol refuses a protocol that there is not, and flags of another one.
func checkProtocol(cmd *cobra.Command, protocol string) (err error) {
	takes, ok := protocolFlags[protocol]
	if !ok {
		return usagef("unknown --protocol %q: choose knn, linear, finetune or reconstruction", protocol)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if err != nil || !f.Changed || slices.Contains(everyProtocol, f.Name) || slices.Contains(takes, f.Name) {
			return
		}
		var with []string
		for _, p := range slices.Sorted(maps.Keys(protocolFlags)) {
			if slices.Contains(protocolFlags[p], f.Name) {
				with = append(with, p)
			}
		}
		err = usagef("--%s goes with --protocol %s, not %s", f.Name, oneOf(with), protocol)
	})
	return err
}
