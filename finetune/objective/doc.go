// Package objective holds what networks are trained for: losses as functions on
// graph nodes, and the objectives that apply networks to views and compare the
// results with them.
package objective
