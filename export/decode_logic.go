package export

import (
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Comparisons, logic and changes of the element type.

var logicRules = map[string]rule{
	"And":            binaryRule(boolOnly, op.And),
	"Or":             binaryRule(boolOnly, op.Or),
	"Xor":            binaryRule(boolOnly, op.Xor),
	"Not":            {least: 1, most: 1, types: boolOnly, build: unary(op.Not), since: 1},
	"Equal":          binaryRule(allTypes, op.IsEqual),
	"Less":           binaryRule(numbers, op.IsLess),
	"Greater":        binaryRule(numbers, op.IsGreater),
	"LessOrEqual":    binaryRule(numbers, op.IsAtMost),
	"GreaterOrEqual": binaryRule(numbers, op.IsAtLeast),
	"IsNaN":          unaryRule(op.IsNaN),
	"IsInf": {least: 1, most: 1, attrs: attrs{"detect_negative": attrInt, "detect_positive": attrInt}, types: floatOnly, build: func(c *call) value {
		return just(op.IsInf(c.arg(0), c.integer("detect_negative", 1) != 0, c.integer("detect_positive", 1) != 0))
	}},

	"BitwiseAnd": bitwiseRule("and"),
	"BitwiseOr":  bitwiseRule("or"),
	"BitwiseXor": bitwiseRule("xor"),
	"BitwiseNot": {least: 1, most: 1, types: "li", build: func(c *call) value {
		x := c.arg(0)
		return just(op.Bitwise("xor", x, c.scalar(x, -1)))
	}},

	"Where": {least: 3, most: 3, types: allTypes, of: 1, build: func(c *call) value {
		return just(op.Where(c.arg(0), c.arg(1), c.arg(2)))
	}},
	"Cast":     {least: 1, most: 1, attrs: attrs{"to": attrInt, "saturate": attrInt}, types: allTypes, build: decodeCast},
	"CastLike": {least: 2, most: 2, attrs: attrs{"saturate": attrInt}, types: allTypes, build: decodeCastLike},
}

func bitwiseRule(how string) rule {
	return rule{least: 2, most: 2, types: "li", build: func(c *call) value { return just(op.Bitwise(how, c.arg(0), c.arg(1))) }}
}

func decodeCast(c *call) value {
	if c.n.Attr("to") == nil {
		return c.fail("attribute to is missing")
	}
	to, err := c.dtype(onnx.DataType(c.integer("to", 0)))
	if err != nil {
		return c.fail("%w", err)
	}
	if v := c.values[c.n.Inputs[0]]; v.constant != nil && v.constant.wide {
		narrow := *v.constant
		narrow.wide = false
		if narrow.dense == nil {
			return c.fail("%w", &ZeroSize{narrow.dims})
		}
		return just(op.Cast(c.graph.ConstOf(narrow.dense), to))
	}
	return just(op.Cast(c.arg(0), to))
}

func decodeCastLike(c *call) value {
	x, like := c.arg(0), c.arg(1)
	if like == nil {
		return value{}
	}
	return just(op.Cast(x, like.DType))
}
