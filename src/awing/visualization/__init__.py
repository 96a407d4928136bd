"""Pictures of faces, and plots of numbers."""
