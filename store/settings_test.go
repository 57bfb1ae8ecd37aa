package store

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// A setting that machines may have differently without being told undermines all of them.
func TestEverySettingIsCompared(t *testing.T) {
	t.Parallel()
	of := reflect.TypeFor[Settings]()
	for i := range of.NumField() {
		var here Settings
		switch field := reflect.ValueOf(&here).Elem().Field(i); field.Kind() {
		case reflect.String:
			field.SetString("x")
		case reflect.Slice:
			field.Set(reflect.ValueOf([]string{"x"}))
		case reflect.Float64:
			field.SetFloat(1)
		case reflect.Bool:
			field.SetBool(true)
		default:
			field.SetInt(1)
		}
		require.Len(t, here.Differ(Settings{}), 1, of.Field(i).Name)
		require.Empty(t, here.Differ(here))
	}
}
