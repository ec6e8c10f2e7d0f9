"""Where each subject stands in a picture: regions, their files, the record in a PNG."""
