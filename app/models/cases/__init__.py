"""An upload, the case that it becomes, its lesions, and what people and networks say of them."""
