// Package augment is everything sslrt does to pixels: it decodes images, resizes them, prepares them
// for a network, draws random augmentations, and reads data sets of images in a reproducible order.
//
// The numbers are Pillow's and torchvision's, because published encoders were trained on those:
// resizing is antialiased and rounds to 8 bits between its two passes, colour changes work on 8-bit
// values, hue has 256 steps, chroma of subsampled JPEG is interpolated as libjpeg does. An [Image] is
// 8-bit RGB; it becomes float32 only when a [Preprocess] normalises it into a tensor [3, H, W].
//
// A data set is a [Source]: random access, safe for concurrent use, one decoded image at a time.
// [Open] finds out what a path is. A [Loader] reads a source with several workers and yields batches
// whose content depends on the seed, the epoch, the image's index and the view, never on the workers.
//
// The package depends on no tensor library: it speaks []float32 and a shape.
package augment
