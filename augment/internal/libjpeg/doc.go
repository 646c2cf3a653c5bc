// Package libjpeg decodes JPEG by the C library libjpeg-turbo, in builds with the tag libjpeg; in others
// it is empty. It stands apart from package augment because a package with assembly cannot use cgo.
package libjpeg
