package engine

import (
	"context"
	"fmt"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/runtime/ort"
)

// StepTolerance is the largest error of what a training step gives beside its
// loss: gradients go into it, which are sums with much cancellation.
const StepTolerance = 1e-4

// VerifyStep runs one training step from an ONNX file on ONNX Runtime and the
// function it was lowered from on the Go machine, with the same inputs and
// parameters. The first output, the loss, must agree within Tolerance, all others
// and the new parameters within StepTolerance.
func VerifyStep(ctx context.Context, file string, f Function, in, params Tensors, opt ort.Options) (Verification, error) {
	var found Verification
	fail := func(err error) (Verification, error) { return found, fmt.Errorf("engine: verify: %w", err) }
	opt.Inputs, opt.Outputs = nil, nil
	session, err := ort.OpenFile(file, opt)
	if err != nil {
		return fail(err)
	}
	defer session.Close()
	bound := map[string]*ort.Tensor{}
	for _, want := range session.Inputs() {
		v := in[want.Name]
		if v == nil {
			v = params[want.Name]
		}
		if v == nil {
			return fail(fmt.Errorf("the step has no input %q, which the file asks for", want.Name))
		}
		if bound[want.Name], err = toORT(v); err != nil {
			return fail(fmt.Errorf("input %q: %w", want.Name, err))
		}
	}
	got, err := session.RunMap(ctx, bound)
	if err != nil {
		return fail(err)
	}
	program, err := Go{}.Compile(f)
	if err != nil {
		return fail(err)
	}
	defer program.Close()
	if err := program.Load(params); err != nil {
		return fail(err)
	}
	want, err := program.Run(ctx, in)
	if err != nil {
		return fail(err)
	}
	all := Tensors{}
	for name, v := range want {
		all[name] = v
	}
	state := program.State()
	for _, c := range f.Carry {
		all[nextPrefix+c.Param.Name] = state[c.Param.Name]
	}
	if err := found.compare(got, all); err != nil {
		return fail(err)
	}
	loss := f.Outputs[0].Name
	var exact Verification
	if err := exact.compare(map[string]*ort.Tensor{loss: got[loss]}, Tensors{loss: want[loss]}); err != nil {
		return fail(err)
	}
	for v, limit := range map[*Verification]float64{&exact: Tolerance, &found: StepTolerance} {
		if !(v.MaxError <= limit) {
			return fail(fmt.Errorf("%q of the file and of the graph differ by %.3g of the largest value, want at most %g",
				strings.TrimPrefix(v.Output, nextPrefix), v.MaxError, limit))
		}
	}
	return found, nil
}

// toORT binds the values of a tensor.
func toORT(v *tensor.Dense) (*ort.Tensor, error) {
	if v.Dtype() == tensor.Int64 {
		return ort.NewTensor(v.Shape(), v.Int64s())
	}
	return ort.NewTensor(v.Shape(), v.Float32s())
}
