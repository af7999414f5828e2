"""What people look at: the page of a conversion, its model card, and pages that compare."""
