"""What a graph costs on a user's own data: data, scores, figures and intervals."""
