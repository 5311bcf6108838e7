"""The features job: convert pictures to feature vectors."""
