package main

import (
	"strings"

	"github.com/sslrt/sslrt/models"
)

// encoderHelp names the networks that can be trained.
func encoderHelp() string {
	return strings.Join(models.EncoderNames(), ", ") + "; or " + models.NamePlain + " with the channels of its convolutions, such as " + models.NamePlain + "-16-32-64"
}
