package tensorboard

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of event.proto and summary.proto.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7

	summaryValue = 1

	valueTag    = 1
	valueScalar = 2
	valueImage  = 4

	imageHeight     = 1
	imageWidth      = 2
	imageColorspace = 3
	imageEncoded    = 4

	sessionStatus = 1
)

const (
	fileVersion  = "brain.Event:2"
	colorRGB     = 3
	sessionStart = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record frames a payload: its length, the length's checksum, the payload, the
// payload's checksum, all little endian.
func record(payload []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(payload))
}

// maskedCRC is CRC-32C, rotated and shifted: a checksum over data that holds
// checksums itself would be weak.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func versionEvent(wall float64) []byte {
	return appendBytes(wallEvent(wall), eventFileVersion, []byte(fileVersion))
}

func scalarEvent(wall float64, step int, tag string, value float32) []byte {
	v := appendBytes(nil, valueTag, []byte(tag))
	v = protowire.AppendTag(v, valueScalar, protowire.Fixed32Type)
	v = protowire.AppendFixed32(v, math.Float32bits(value))
	return summaryEvent(wall, step, v)
}

func imageEvent(wall float64, step int, tag string, w, h int, encoded []byte) []byte {
	m := appendVarint(nil, imageHeight, h)
	m = appendVarint(m, imageWidth, w)
	m = appendVarint(m, imageColorspace, colorRGB)
	m = appendBytes(m, imageEncoded, encoded)
	v := appendBytes(nil, valueTag, []byte(tag))
	return summaryEvent(wall, step, appendBytes(v, valueImage, m))
}

func restartEvent(wall float64, step int) []byte {
	return appendBytes(stepEvent(wall, step), eventSessionLog, appendVarint(nil, sessionStatus, sessionStart))
}

func summaryEvent(wall float64, step int, value []byte) []byte {
	return appendBytes(stepEvent(wall, step), eventSummary, appendBytes(nil, summaryValue, value))
}

// stepEvent begins an event that belongs to a step.
func stepEvent(wall float64, step int) []byte {
	return appendVarint(wallEvent(wall), eventStep, step)
}

// wallEvent begins an event with its time, in seconds since 1970.
func wallEvent(wall float64) []byte {
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(wall))
}

func appendVarint(b []byte, field protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(v))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}
