package engine

import (
	"context"
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/runtime/ort"
)

// StepTolerance is the largest error of what a training step makes of its
// parameters, see StepVerification.
const StepTolerance = 0.05

// StepVerification is how far a training step in a file and its graph agree.
type StepVerification struct {
	// Verification is of the outputs: the loss and metrics.
	Verification

	// ChangeError is the largest of |difference| / |change| over all parameters,
	// where |.| is the root of the sum of squares and the change is what the step
	// adds to the parameter; Parameter is the one that has it. It is not as small as
	// MaxError: where rounding turns the sign of one of the millions of values that
	// enter a ReLU, a term of the gradient comes or goes. A ResNet-18 of width 0.25
	// with 64 views gives 8e-3, the same network with SiLU 8e-6.
	ChangeError float64
	Parameter   string
}

// VerifyStep runs one training step from an ONNX file on ONNX Runtime and the
// function it was lowered from on the Go machine, with the same inputs and
// parameters. The outputs must agree within Tolerance, the parameters' changes
// within StepTolerance.
func VerifyStep(ctx context.Context, file string, f Function, in, params Tensors, opt ort.Options) (StepVerification, error) {
	var found StepVerification
	fail := func(err error) (StepVerification, error) { return found, fmt.Errorf("engine: verify: %w", err) }
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
	if err := found.changes(got, params, program.State(), f.Carry); err != nil {
		return fail(err)
	}
	if err := found.compare(got, want); err != nil {
		return fail(err)
	}
	if !(found.MaxError <= Tolerance) {
		return fail(fmt.Errorf("output %q of the file and of the graph differ by %.3g of the largest value, want at most %g",
			found.Output, found.MaxError, Tolerance))
	}
	if !(found.ChangeError <= StepTolerance) {
		return fail(fmt.Errorf("the changes of parameter %q by the file and by the graph differ by %.3g of the change, want at most %g",
			found.Parameter, found.ChangeError, StepTolerance))
	}
	return found, nil
}

// changes adds the errors of the carried parameters and takes them out of got.
func (v *StepVerification) changes(got map[string]*ort.Tensor, before, after Tensors, carried []Carry) error {
	for _, c := range carried {
		name := c.Param.Name
		g := got[nextPrefix+name]
		if g == nil {
			return fmt.Errorf("the file has no output %q", nextPrefix+name)
		}
		delete(got, nextPrefix+name)
		values, err := ort.Data[float32](g)
		if err != nil {
			return fmt.Errorf("output %q: %w", nextPrefix+name, err)
		}
		was, is := before[name].Float32s(), after[name].Float32s()
		if len(values) != len(is) {
			return fmt.Errorf("output %q of the file is %v, want %v", nextPrefix+name, g.Shape(), after[name].Shape())
		}
		if e := changeError(values, was, is); v.Parameter == "" || e > v.ChangeError || math.IsNaN(e) {
			v.ChangeError, v.Parameter = e, name
		}
	}
	return nil
}

// changeError is |got - is| / |is - was|. Where a step changes next to nothing, a
// difference of 1e-4 of the values counts as a change: rounding is not an error.
func changeError(got, was, is []float32) float64 {
	var diff, change, size float64
	for i, w := range is {
		d, c := float64(got[i])-float64(w), float64(w)-float64(was[i])
		diff += d * d
		change += c * c
		size += float64(w) * float64(w)
	}
	if diff == 0 {
		return 0
	}
	return math.Sqrt(diff) / (math.Sqrt(change) + 1e-4*math.Sqrt(size))
}

// toORT binds the values of a tensor.
func toORT(v *tensor.Dense) (*ort.Tensor, error) {
	if v.Dtype() == tensor.Int64 {
		return ort.NewTensor(v.Shape(), v.Int64s())
	}
	return ort.NewTensor(v.Shape(), v.Float32s())
}
