package op

import "math"

// Tan returns the tangent of x, in radians.
func Tan(x *Node) *Node { return Apply(unary{tanOp}, x) }

// Asin returns the arc sine of x, in radians.
func Asin(x *Node) *Node { return Apply(unary{asinOp}, x) }

// Acos returns the arc cosine of x, in radians.
func Acos(x *Node) *Node { return Apply(unary{acosOp}, x) }

// Atan returns the arc tangent of x, in radians.
func Atan(x *Node) *Node { return Apply(unary{atanOp}, x) }

// Sinh returns the hyperbolic sine of x.
func Sinh(x *Node) *Node { return Apply(unary{sinhOp}, x) }

// Cosh returns the hyperbolic cosine of x.
func Cosh(x *Node) *Node { return Apply(unary{coshOp}, x) }

// Asinh returns the inverse of Sinh.
func Asinh(x *Node) *Node { return Apply(unary{asinhOp}, x) }

// Acosh returns the inverse of Cosh, for x of 1 or more.
func Acosh(x *Node) *Node { return Apply(unary{acoshOp}, x) }

// Atanh returns the inverse of Tanh.
func Atanh(x *Node) *Node { return Apply(unary{atanhOp}, x) }

// Floor returns the largest whole number that is not above x. It has no gradient.
func Floor(x *Node) *Node { return Apply(unary{floorOp}, x) }

// Ceil returns the smallest whole number that is not below x. It has no gradient.
func Ceil(x *Node) *Node { return Apply(unary{ceilOp}, x) }

// Round returns the nearest whole number, the even one of two. It has no gradient.
func Round(x *Node) *Node { return Apply(unary{roundOp}, x) }

var (
	tanOp, asinOp, acosOp, atanOp, sinhOp, coshOp, asinhOp, acoshOp, atanhOp *unaryKind
	floorOp, ceilOp, roundOp                                                 *unaryKind
)

func init() {
	square := func(x *Node) *Node { return Mul(x, x) }
	over := func(dy, x *Node, sign, c float64) *Node { // dy / sqrt(sign*x^2 + c)
		return Div(dy, Sqrt(AddScalar(Scale(square(x), sign), c)))
	}
	none := func(x, y, dy *Node) *Node { return nil }
	tanOp = &unaryKind{"Tan", math.Tan,
		func(x, y, dy *Node) *Node { return Mul(dy, AddScalar(square(y), 1)) }}
	asinOp = &unaryKind{"Asin", math.Asin,
		func(x, y, dy *Node) *Node { return over(dy, x, -1, 1) }}
	acosOp = &unaryKind{"Acos", math.Acos,
		func(x, y, dy *Node) *Node { return Neg(over(dy, x, -1, 1)) }}
	atanOp = &unaryKind{"Atan", math.Atan,
		func(x, y, dy *Node) *Node { return Div(dy, AddScalar(square(x), 1)) }}
	sinhOp = &unaryKind{"Sinh", math.Sinh,
		func(x, y, dy *Node) *Node { return Mul(dy, Cosh(x)) }}
	coshOp = &unaryKind{"Cosh", math.Cosh,
		func(x, y, dy *Node) *Node { return Mul(dy, Sinh(x)) }}
	asinhOp = &unaryKind{"Asinh", math.Asinh,
		func(x, y, dy *Node) *Node { return over(dy, x, 1, 1) }}
	acoshOp = &unaryKind{"Acosh", math.Acosh,
		func(x, y, dy *Node) *Node { return over(dy, x, 1, -1) }}
	atanhOp = &unaryKind{"Atanh", math.Atanh,
		func(x, y, dy *Node) *Node { return Div(dy, AddScalar(Neg(square(x)), 1)) }}
	floorOp = &unaryKind{"Floor", math.Floor, none}
	ceilOp = &unaryKind{"Ceil", math.Ceil, none}
	roundOp = &unaryKind{"Round", math.RoundToEven, none}
}
