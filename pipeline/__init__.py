"""Everything that runs when a question is asked, and how the result is judged. Importing it loads no model library."""
