package designate

// ZoneOf makes a zone of a kind: "", "secondary" or "deleting".
func ZoneOf(id, name, kind string) Zone {
	return Zone{ID: id, Name: name, primary: kind != "secondary", deleting: kind == "deleting"}
}
