"""From image files (DICOM, PNG, JPEG) to grey pixels, and their annotations."""
