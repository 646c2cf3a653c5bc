// Package ortpass rewrites a lowered training step into forms that ONNX Runtime
// runs faster: other layouts and other nodes for the same numbers, up to rounding.
// Nothing above the machine knows of it, and no exported file holds its results:
// the blocked layout is ONNX Runtime's own (domain com.microsoft.nchwc) and depends
// on the processor.
//
// A [Pass] looks for a pattern whose shapes it knows (see Shapes of
// export.Options) and leaves alone what it does not recognise.
package ortpass
