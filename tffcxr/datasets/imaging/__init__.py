"""From image files (DICOM, PNG, JPEG) to grey pixels, and what is outlined in them."""
