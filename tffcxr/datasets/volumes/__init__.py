"""CT, PET and MRI: files to volumes, volumes to cases, and the sources of such cases."""
