package payfile

// pan checks a card number, Luhn's digit included.
func pan(v string) string {
	if scientificNotation(v) {
		return "a spreadsheet turned the number into scientific notation: format the column as text and fill it in again"
	}
	if !allDigits(v) || len(v) < 12 || len(v) > 19 {
		return "a card number is 12 to 19 digits without spaces"
	}
	sum := 0
	for i := range len(v) {
		d := int(v[len(v)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return "not a card number: its check digit is wrong"
	}
	return ""
}
