"""Schemas of what only streams tell, for the OpenAPI document."""

from api.http.schemas import View


class Reset(View):
    reason: str
    """Explanation of what was lost, and of what follows."""
