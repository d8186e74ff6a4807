package connectors_test

import (
	"testing"
	"time"

	"smi/connectors"
)

func TestDollars(t *testing.T) {
	t.Parallel()
	for micros, want := range map[int64]string{
		0: "$0.00", 200_000: "$0.20", 15_000: "$0.015", 1_000: "$0.001", 12_340_000: "$12.34", 1: "$0.000001", -15_000: "-$0.015", 1_000_000: "$1.00",
	} {
		if got := connectors.Dollars(micros); got != want {
			t.Errorf("%d is %s, want %s", micros, got, want)
		}
	}
}

func TestMonthOf(t *testing.T) {
	t.Parallel()
	day := func(y int, m time.Month) time.Time { return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC) }
	east := time.FixedZone("east", 7*3600)
	for _, tt := range []struct{ at, begin, next time.Time }{
		{time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), day(2026, 12), day(2027, 1)},
		{time.Date(2027, 1, 1, 6, 59, 0, 0, east), day(2026, 12), day(2027, 1)},
		{day(2028, 2), day(2028, 2), day(2028, 3)},
	} {
		if b, n := connectors.MonthOf(tt.at); !b.Equal(tt.begin) || !n.Equal(tt.next) {
			t.Errorf("%v is in the month from %v to %v", tt.at, b, n)
		}
	}
}
