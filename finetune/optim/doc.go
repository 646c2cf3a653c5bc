// Package optim holds optimisers, as graph operations that give weights their
// next values, and learning rate schedules.
package optim
