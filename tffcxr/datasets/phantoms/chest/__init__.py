"""A simulated chest radiograph: anatomy, tissue, disease, devices and detector."""
