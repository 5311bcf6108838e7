"""Resource types of the program, implemented over boto3 for the local target."""
