"""AWS resource types over boto3, for stacks on localhost."""
