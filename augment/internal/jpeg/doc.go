// Package jpeg decodes JPEG files (ITU-T T.81) into the planes of their components: baseline, extended and
// progressive, 8 bits, Huffman coded. The inverse transform is the accurate integer one of libjpeg(-turbo),
// bit for bit, so that the planes are those that Pillow computes its pixels from. Package augment turns
// planes into pixels.
//
// A Decoder keeps its memory, so that decoding many files takes no new memory once it runs.
package jpeg
