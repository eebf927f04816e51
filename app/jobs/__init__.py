"""What is done beside the requests: jobs, notices of their end, what was asked twice."""
